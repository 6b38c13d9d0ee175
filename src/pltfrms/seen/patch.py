"""What makes one picture of another. Pure."""

from dataclasses import fields

from pltfrms.model.messages.picture import LISTS, Patch, Picture


def patch_of(before: Picture, after: Picture) -> Patch | None:
    """Return what makes one view of the other; None if they are equal."""
    if before == after:
        return None
    changed: dict[str, tuple[object, ...]] = {}
    order: dict[str, tuple[str, ...]] = {}
    for name in LISTS:
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        known = {each.id: each for each in old}
        changed[name] = tuple(each for each in new if known.get(each.id) != each)
        ids = tuple(each.id for each in new)
        if ids != tuple(known):
            order[name] = ids
    heads = (each.name for each in fields(Picture) if each.name not in LISTS)
    head = {
        name: getattr(after, name)
        for name in heads
        if getattr(before, name) != getattr(after, name)
    }
    return Patch(head=head, changed=changed, order=order)
