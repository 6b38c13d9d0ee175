from pltfrms.lab.network.impairment import Impairment, PortShape
from pltfrms.lab.network.shaping import netem_lines


def test_netem_lines_put_each_direction_on_the_interface_it_leaves_through() -> None:
    shape = PortShape(outward=Impairment(5_000, 12_500), inward=Impairment(7_000))
    assert netem_lines("p1", "x2", shape) == [
        "qdisc replace dev x2 root netem limit 20000 delay 5000us loss 1.2500%",
        "qdisc replace dev p1 root netem limit 20000 delay 7000us loss 0.0000%",
    ]
