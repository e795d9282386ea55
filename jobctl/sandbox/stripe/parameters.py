"""Form-encoded parameters with bracketed names, read as strictly as Stripe reads them."""

import re
from collections.abc import Collection, Iterator
from urllib.parse import parse_qsl

from jobctl.sandbox.stripe.errors import StripeError

FORM = "application/x-www-form-urlencoded"
# Stripe: Metadata.
MOST_METADATA, LONGEST_NAME, LONGEST_VALUE = 50, 40, 500


class Parameters:
    """The parameters of one request, by their full names, such as `metadata[order]`."""

    def __init__(self, encoded: str) -> None:
        self.pairs = tuple(parse_qsl(encoded, keep_blank_values=True))
        self._values = dict(self.pairs)

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Refuse what is not in `known`, where `name[` stands for whatever is in its brackets."""
        for name in self._values:
            base, bracket, _ = name.partition("[")
            if name not in known and base + bracket not in known:
                raise StripeError(f"Received unknown parameter: {name}", name, "parameter_unknown")

    def text(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise StripeError(f"Missing required param: {name}.", name, "parameter_missing")
        if not value:
            raise StripeError(f"You passed an empty string for '{name}'.", name, "parameter_invalid_empty")
        return value

    def integer(self, name: str, low: int = 1, high: int | None = None) -> int:
        value = self.text(name)
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise StripeError(f"Invalid integer: {value}", name, "parameter_invalid_integer")
        number = int(value)
        if number < low or (high and number > high):
            bound = f"greater than or equal to {low}" if number < low else f"less than or equal to {high}"
            raise StripeError(f"This value must be {bound}.", name, "parameter_invalid_integer")
        return number

    def boolean(self, name: str) -> bool:
        value = self.get(name) or "false"
        if value not in ("true", "false"):
            raise StripeError(f"Invalid boolean: {value}", name)
        return value == "true"

    def choice(self, name: str, allowed: Collection[str]) -> str | None:
        value = self.get(name)
        if value is not None and value not in allowed:
            raise StripeError(f"Invalid {name}: must be one of {', '.join(allowed)}", name)
        return value

    def metadata(self) -> dict[str, str]:
        """Return the metadata; an empty value is one that is to be removed."""
        found = {name: value for name, value in self.bracketed("metadata") if value}
        if len(found) > MOST_METADATA:
            raise StripeError(f"Metadata has up to {MOST_METADATA} names.", "metadata")
        for name, value in found.items():
            if len(name) > LONGEST_NAME or len(value) > LONGEST_VALUE:
                limits = f"names up to {LONGEST_NAME} characters, values up to {LONGEST_VALUE}"
                raise StripeError(f"Metadata has {limits}: {name}", f"metadata[{name}]")
        return found

    def expands(self, expandable: str) -> bool:
        """Whether the one thing that can be expanded is to be (Stripe: Expanding responses)."""
        wanted = [value for _, value in self.bracketed("expand")]
        for each in wanted:
            if each != expandable:
                raise StripeError(f"This property cannot be expanded ({each}).")
        return bool(wanted)

    def bracketed(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield what is inside the brackets, and the value, of each `name[…]`."""
        for full, value in self.pairs:
            base, bracket, rest = full.partition("[")
            if base == name and bracket:
                yield rest.removesuffix("]"), value
