"""What people look for in the page: events that were told."""

from pltfrms.model.messages.api import Event
from tests.cli.world import NOW_MS
from tests.page.screen import Screen
from tests.page.stand_in import StandIn


def test_events_are_found_and_told_by_what_they_are_about(
    screen: Screen, controller: StandIn
) -> None:
    page = screen.page
    controller.tell(
        *(
            Event(sequence=n, at_ms=at_ms, source="s", about=f"a{n % 2}", what=f"did {n}")
            for n, at_ms in enumerate([NOW_MS - 700_000] + 5 * [NOW_MS], 1)
        )
    )
    events = page.locator("ol").first
    events.get_by_text("did 6").wait_for()
    page.get_by_label("Find an event").fill("did 3")
    assert events.locator("li").count() == 1
    page.get_by_label("Find an event").fill("")
    page.get_by_label("Kind of event").select_option("did 2")
    assert events.locator("li").count() == 1
    page.get_by_label("Kind of event").select_option("of any kind")
    page.get_by_label("Time of event").select_option("in the last 10 min")
    assert events.locator("li").count() == 5, "all but the first"
    page.get_by_label("Time of event").select_option("at any time")
    page.get_by_label("by what they are about").check()
    assert events.locator("summary").all_inner_texts()[0].startswith("a0 3 events")
    events.locator("summary").first.press("Enter")
    events.get_by_text("did 2").wait_for()
