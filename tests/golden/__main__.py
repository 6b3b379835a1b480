"""`python -m tests.golden`: adds what the catalogue has and the golden files have not, and changes nothing."""

import msgspec

from domain.events import EVENTS
from tests.golden import examples, files


def main() -> None:
    """Adds tags, and a file for every shape with fields that no file of its tag has."""
    known = files.tags() if files.TAGS.exists() else []
    new = [event.type for event in EVENTS if event.type not in known]
    files.TAGS.write_text("".join(f"{tag}\n" for tag in sorted(known + new)))
    files.EVENTS.mkdir(exist_ok=True)
    for event in EVENTS:
        stored = [golden for golden in files.goldens() if golden.tag == event.type]
        data = examples.data(event)
        fields = examples.fields_set(msgspec.json.decode(data))
        if not any(fields <= examples.fields_set(msgspec.json.decode(golden.data)) for golden in stored):
            files.write(files.Golden(event.type, len(stored) + 1, data))


if __name__ == "__main__":
    main()
