"""Names of time zones, checked against the IANA database of this machine."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from router.errors import nearest


def known_zone(name: str) -> str:
    """The name, if the IANA database has it. ValueError without its subject, as a validator raises it."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError):  # a folder, or no name at all
        pass
    except KeyError:  # ZoneInfoNotFoundError
        if not available_timezones():
            raise ValueError(
                "cannot be checked, since this machine has no database of time zones: pip install tzdata"
            ) from None
    else:
        return name
    known = nearest(name, available_timezones()) if len(name) < 64 else "use one as `Europe/Vienna`"
    raise ValueError(f"is not a time zone of the IANA database; {known}")
