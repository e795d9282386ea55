"""Whether what a test asks for makes sense."""


def require(met: bool, otherwise: str) -> None:
    if not met:
        raise ValueError(otherwise)
