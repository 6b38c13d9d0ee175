"""Object files of the BPF compiler: programs whose maps are still names.

Only what our own programs need: one function per program (all others inlined), and no data but
maps. See elf(5), and "BPF ABI" of the LLVM documentation for the relocation types.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pltfrms.errors import UnavailableError

_MAGIC: Final = b"\x7fELF\x02"
_BPF = 247
_SYMBOLS, _RELOCATIONS = 2, 9
_FUNCTION = 2
_MAP_ADDRESS = 1
"""R_BPF_64_64: a 64-bit load of a map's address."""
_PSEUDO_MAP_FD = 1


@dataclass(frozen=True, slots=True)
class _Section:
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_bytes: int


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    kind: int
    section: int
    value: int
    size: int


class ObjectFile:
    """An object file, read and understood."""

    def __init__(self, path: Path) -> None:
        """Read it; UnavailableError if it is not there or no BPF object."""
        try:
            self._raw = path.read_bytes()
        except OSError as error:
            raise UnavailableError(f"cannot read {path}: {error.strerror}") from error
        if self._raw[:5] != _MAGIC or struct.unpack_from("<H", self._raw, 18)[0] != _BPF:
            raise UnavailableError(f"{path} is no BPF object: compile it anew")
        self._path = path
        (start,) = struct.unpack_from("<Q", self._raw, 40)
        _, count, names = struct.unpack_from("<3H", self._raw, 58)
        self._sections = [
            _Section(*struct.unpack_from("<IIQQQQIIQQ", self._raw, start + 64 * number))
            for number in range(count)
        ]
        self._section_names = self._sections[names]
        self._symbols = self._read_symbols()

    @property
    def licence(self) -> str:
        """What its programs say they may be used under."""
        for section in self._sections:
            if self._text(self._section_names, section.name) == "license":
                return self._text(section, 0)
        return ""

    def code(self, function: str, maps: Mapping[str, int]) -> bytes:
        """Return the instructions of a function, with these file descriptors as its maps.

        Raises:
            UnavailableError: no such function, or it uses what is not in `maps`.
        """
        symbol = next(
            (one for one in self._symbols if (one.name, one.kind) == (function, _FUNCTION)),
            None,
        )
        if symbol is None:
            raise UnavailableError(f"{self._path} has no program {function}")
        start = self._sections[symbol.section].offset + symbol.value
        code = bytearray(self._raw[start : start + symbol.size])
        for place, kind, name in self._relocations(symbol):
            if kind != _MAP_ADDRESS or name not in maps:
                raise UnavailableError(f"{self._path}: {function} uses {name or 'data'}")
            code[place + 1] = code[place + 1] & 0x0F | _PSEUDO_MAP_FD << 4
            struct.pack_into("<i", code, place + 4, maps[name])
        return bytes(code)

    def _relocations(self, symbol: _Symbol) -> list[tuple[int, int, str]]:
        """Return where in a function, what kind, and the name of what is meant."""
        found: list[tuple[int, int, str]] = []
        for section in self._sections:
            if section.kind != _RELOCATIONS or section.info != symbol.section:
                continue
            for at in range(section.offset, section.offset + section.size, 16):
                offset, info = struct.unpack_from("<QQ", self._raw, at)
                if symbol.value <= offset < symbol.value + symbol.size:
                    name = self._symbols[info >> 32].name
                    found.append((offset - symbol.value, info & 0xFFFFFFFF, name))
        return found

    def _read_symbols(self) -> list[_Symbol]:
        symbols: list[_Symbol] = []
        for section in self._sections:
            if section.kind != _SYMBOLS:
                continue
            names = self._sections[section.link]
            for at in range(section.offset, section.offset + section.size, 24):
                name, info, _, where, value, size = struct.unpack_from("<IBBHQQ", self._raw, at)
                text = self._text(names, name)
                symbols.append(_Symbol(text, info & 15, where, value, size))
        return symbols

    def _text(self, section: _Section, offset: int) -> str:
        start = section.offset + offset
        return self._raw[start : self._raw.index(b"\0", start)].decode()
