"""XML of repositories, read as foreign bytes: no entity is expanded, nothing else is read."""

from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

# Far more than any POM has: the largest in Maven Central are about 1 MB.
_CHARACTERS: Final = 8 << 20
_ELEMENTS: Final = 200_000
_DEPTH: Final = 100


class UnreadableXml(ValueError):
    """Text that is no XML, or none that anybody publishes."""


def read_xml(text: str) -> Element:
    """Return the top element, names without their namespace; raises ``UnreadableXml``.

    Entities that nobody declares (``&oslash;`` in some old POMs) are left out, as what they stand
    for is in names of people only.
    """
    if len(text) > _CHARACTERS:
        raise UnreadableXml(f"it has {len(text)} characters, which is too many")
    builder, counter = TreeBuilder(), _Counter()
    parser = expat.ParserCreate(namespace_separator="}")
    # With a DTD from elsewhere, of which nothing is read, an unknown entity is no error.
    parser.UseForeignDTD(True)
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_ALWAYS)
    parser.ExternalEntityRefHandler = lambda *_: 1
    parser.EntityDeclHandler = _refuse

    def start(tag: str, attributes: dict[str, str]) -> None:
        counter.down()
        builder.start(_bare(tag), attributes)

    def end(tag: str) -> None:
        counter.up()
        builder.end(_bare(tag))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text.encode(), True)
        return builder.close()
    except (expat.ExpatError, ValueError, AssertionError) as error:
        raise UnreadableXml(str(error)) from None


class _Counter:
    """Refuses documents that are too deep, or have too many elements."""

    def __init__(self) -> None:
        self._depth = self._elements = 0

    def down(self) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > _DEPTH or self._elements > _ELEMENTS:
            raise UnreadableXml("it has too many elements, one in another")

    def up(self) -> None:
        self._depth -= 1


def _refuse(name: str, *_: object) -> None:
    raise UnreadableXml(f"it declares an entity, {name}")


def _bare(tag: str) -> str:
    return tag.rpartition("}")[2]
