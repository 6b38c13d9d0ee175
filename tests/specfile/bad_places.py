"""Where no datacenter is: what to change in an example, and what must be said."""

from tests.specfile.bad_specs import Bad

PLACES = (
    *(
        Bad(
            name=f"a datacenter at {lat}, {lon}",
            old="    city: Frankfurt",
            new=f"    location: {{lat: {lat}, lon: {lon}}} # <-",
            says=says,
        )
        for lat, lon, says in (
            ("90.5", "8", "90.5 is nowhere"),
            ("50", "-181", "-181.0 is nowhere"),
            ("50", ".inf", "must be a finite number"),
        )
    ),
)
