"""Lines of a log that others cause."""

from pltfrms.drivers.log import SpareLog


def test_what_others_may_cause_all_the_time_is_said_in_few_lines_that_count_the_rest() -> None:
    lines: list[tuple[str, dict[str, object]]] = []
    now = [0.0]
    summary = SpareLog(lambda event, **words: lines.append((event, words)), lambda: now[0])
    for _ in range(1000):
        for client in ("a", "b"):
            summary.say("refused", client, client=client)
    assert lines == [("refused", {"client": "a"}), ("refused", {"client": "b"})]
    for number in range(1000):
        summary.say("refused", f"n{number}", client=str(number))
    assert len(lines) == 20
    now[0] = 61.0
    summary.say("refused", "a", client="a")
    assert lines[20:] == [
        ("and others", {"times": 1998 + 982, "seconds": 61}),
        ("refused", {"client": "a"}),
    ]
