"""What a script defines travels to workers and back: as a table of things, each sent and brought home."""

from __future__ import annotations

import abc
import asyncio
import collections
import contextlib
import copyreg
import dataclasses
import enum
import functools
import linecache
import pickle
import threading
import typing
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.executors.transport.dependencies import packed_function
from wrenla_handler.serialize.blobs import dump, load, pack
from wrenla_handler.serialize.lines import install_lines
from wrenla_handler.serialize.modules import split_function

pytestmark = pytest.mark.usefixtures("by_value")

T = typing.TypeVar("T")
P = typing.ParamSpec("P")
UserId = typing.NewType("UserId", int)


@functools.cache
def cached(n: int) -> int:
    return n if n < 2 else cached(n - 1) + cached(n - 2)


@functools.singledispatch
def kind(x: object) -> str:
    return "any"


@kind.register
def _(x: int) -> str:
    return "int"


class Slots:
    __slots__ = ("__hidden", "a")

    def __init__(self, a: int = 1) -> None:
        self.a, self.__hidden = a, 2

    def total(self) -> int:
        return self.a + self.__hidden


class MoreSlots(Slots):
    __slots__ = "b"

    def __init__(self) -> None:
        super().__init__()
        self.b = 3


@dataclasses.dataclass(slots=True)
class Data:
    x: int = 1
    y: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, frozen=True, weakref_slot=True)
class Frozen:
    x: int = 1


class Named(typing.NamedTuple):
    a: int
    b: str = "x"


class Planet(enum.Enum):
    EARTH = (5.97e24, 6.37e6)

    def __init__(self, mass: float, radius: float) -> None:
        self.mass = mass
        self.radius = radius

    @property
    def density(self) -> float:
        return self.mass / self.radius**3


class Place(bytes, enum.Enum):
    def __new__(cls, value: int, label: str) -> Place:
        made = bytes.__new__(cls, [value])
        made._value_, made.label = value, label  # type: ignore[attr-defined]
        return made

    X = (0, "P.X")
    Y = (1, "P.Y")


class Perm(enum.Flag):
    R = 1
    W = 2
    RW = 3


class Word(enum.StrEnum):
    ONE = "one"
    ALSO_ONE = "one"


@dataclasses.dataclass(frozen=True)
class Creatures:
    size: str
    legs: int
    tail: bool = dataclasses.field(repr=False, default=True)


class Creature(Creatures, enum.Enum):  # as Python's own guide to enums has it
    BEETLE = "small", 6
    DOG = "medium", 4


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int


class OfSlots(Slotted, enum.Enum):
    ONE = 1


class Coordinate(tuple[int, int], enum.Enum):
    ORIGIN = (0, 0)
    UNIT = (1, 0)


class Same(enum.Enum):
    """Values that are equal only to themselves, or not even that."""

    THING = object()
    NAN = float("nan")
    ALSO_THING = THING
    CALL = enum.member(lambda x: x + 1)


class Grid(enum.Enum):
    ONLY = np.arange(3)


@dataclasses.dataclass
class Marked:
    mark: Any
    _: dataclasses.KW_ONLY
    default: Any = dataclasses.field(default_factory=lambda: dataclasses.MISSING)


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int
    why: str = ""


class Generic(typing.Generic[T]):
    def __init__(self, x: T) -> None:
        self.x = x


class Tool:
    @functools.cached_property
    def slow(self) -> int:
        return 42

    @functools.singledispatchmethod
    def of(self, x: object) -> str:
        return "any"

    @of.register
    def _(self, x: int) -> str:
        return "int"

    @functools.lru_cache  # noqa: B019
    def double(self, x: int) -> int:
        return 2 * x

    class Inner:
        pass


class Hooked:
    made: typing.ClassVar[list[str]] = []

    def __init_subclass__(cls, *, name: str) -> None:
        Hooked.made.append(name)


class Hook(Hooked, name="hook"):
    pass


class Registered:
    pass


class Abstract(abc.ABC):
    @abc.abstractmethod
    def act(self) -> None: ...


Abstract.register(Registered)


class Picky(OSError):
    __slots__ = ("more",)

    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"code {code}")
        self.detail, self.more = detail, [code]


class Changing:
    count = 0


def counter() -> Callable[[], int]:
    count = 0

    def add() -> None:
        nonlocal count
        count += 1

    def twice() -> int:
        add()
        add()
        return count

    return twice


def raising() -> None:
    raise Picky(7, detail="here")


def raising_frozen(code: int) -> None:
    raise FrozenError(code)


vectorized = np.vectorize(lambda x: x + 1, otypes=[float])
pair = collections.namedtuple("pair", "a b")

VALUES: list[Any] = [
    *(Slots(), MoreSlots(), Data(2, [3]), Frozen(4), Named(1), Generic(1), Tool(), Tool.Inner(), Hook()),
    *(Registered(), Planet.EARTH, Place.Y, Perm.R, Perm.RW, Word.ALSO_ONE, Picky(3, detail="x")),
    *(*Creature, *OfSlots, *Coordinate, *Same, *Grid, FrozenError(3)),
]

CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = [
    (cached, (20,), 6765),
    (lambda f: f(5), (cached,), 5),
    (kind, (1,), "int"),
    (lambda: kind(""), (), "any"),
    (lambda: (Slots().total(), MoreSlots().total(), MoreSlots().b), (), (3, 3, 3)),
    (lambda: hasattr(Slots(), "__dict__"), (), False),
    (lambda s: s.total(), (Slots(5),), 7),
    (lambda: dataclasses.asdict(dataclasses.replace(Data(), x=3)), (), {"x": 3, "y": []}),
    (lambda: weakref.ref(Frozen(1)) is not None, (), True),
    (lambda: Planet.EARTH.density, (), Planet.EARTH.density),
    (lambda: (Place.Y.label, Place.Y == b"\x01", Place(1) is Place.Y), (), ("P.Y", True, True)),
    (lambda: (Perm.R | Perm.W) is Perm.RW, (), True),
    (lambda: Word.ONE is Word.ALSO_ONE, (), True),
    (lambda: Generic[int](3).x, (), 3),
    (lambda: (P.__name__, UserId(3)), (), ("P", 3)),
    (lambda t: (t.slow, t.of(1), t.of(""), t.double(4)), (Tool(),), (42, "int", "any", 8)),
    (Tool().of, (1,), "int"),
    (lambda: Tool.Inner.__qualname__, (), "Tool.Inner"),
    (lambda: (Hook(), Hooked.made)[1], (), ["hook"]),
    (lambda: isinstance(Registered(), Abstract), (), True),
    (counter(), (), 2),
    (lambda: float(vectorized(1.0)), (), 2.0),
    (lambda p: p.a, (pair(1, 2),), 1),
    (lambda: asyncio.run(asyncio.sleep(0, 3)), (), 3),
    (lambda: Picky(3, detail="x").more, (), [3]),
    (lambda: (Creature.DOG.legs, Creature.DOG.tail, Creature(Creature.DOG.value).name), (), (4, True, "DOG")),
    (lambda: (OfSlots.ONE.x, Coordinate.UNIT[0], Coordinate((0, 0)).name), (), (1, 1, "ORIGIN")),
    (lambda: (Same.ALSO_THING is Same.THING, Same.CALL.value(1), len(Same)), (), (True, 2, 3)),
    (lambda x: x is Same.NAN, (Same.NAN,), True),
    (lambda x: x is dataclasses.MISSING, (dataclasses.MISSING,), True),
    (lambda: Marked(1, default=2).mark, (), 1),
    (lambda: Marked(1).default is dataclasses.MISSING, (), True),
    (lambda e: (e.code, e.why), (FrozenError(3, "so"),), (3, "so")),
]


def test_exceptions_travel_where_tblib_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask does that."""
    tblib = pytest.importorskip("tblib.pickling_support")
    monkeypatch.setitem(copyreg.dispatch_table, FrozenError, tblib.pickle_exception)
    back = load(pack(dump(FrozenError(3, "so")), lambda number, part: ""), lambda key: b"")
    assert (type(back), back.code, back.why) == (FrozenError, 3, "so")


def test_all_of_it_travels_both_ways(by_value: None) -> None:
    vectorized(np.ones(2))  # it keeps what cannot be pickled, from its first call on
    wrong = []
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        for value, back in zip(VALUES, executor.map(lambda x: x, VALUES), strict=True):
            if type(back) is not type(value) or (isinstance(value, enum.Enum) and back is not value):
                wrong.append((value, back))
        for number, (call, arguments, expected) in enumerate(CALLS):
            with contextlib.suppress(Exception):
                if executor.submit(call, *arguments).result(timeout=60) == expected:
                    continue
            wrong.append((number, expected))
        assert executor.submit(lambda: Slots).result() is Slots
        assert executor.submit(lambda: cached).result()(9) == 34
        error = executor.submit(raising).exception()
        with pytest.raises(FrozenError, match="7") as frozen:
            list(executor.map(raising_frozen, [7]))
        Changing.count = 5
        assert executor.submit(lambda: (setattr(Changing, "count", 9), Changing())).result()
        assert Changing.count == 5, "what workers make of a class stays there"
        assert executor.submit(lambda: Changing.count).result() == 5
    assert not wrong
    assert isinstance(error, Picky)
    assert (str(error), error.detail, error.more) == ("code 7", "here", [7])
    assert (frozen.value.code, frozen.value.__notes__) == (7, ["input 0: 7"])
    assert Hooked.made == ["hook"]


def test_function_has_same_name_after_use() -> None:
    """Python keeps names of slots in a class that was pickled, and vectorize what it has made."""

    def made() -> tuple[Any, Any]:
        space: dict[str, Any] = {"__name__": "__main__", "np": np, "Slots": Slots}
        exec("class S:\n    __slots__ = ('a',)\nv = np.vectorize(lambda x: x, otypes=[float])\n", space)
        exec("def f(i): return v(i), S\n", space)
        return space["f"], space

    (fresh, _), (used, space) = made(), made()
    space["v"](np.ones(2))
    dump(space["S"]())
    assert packed_function(fresh).name == packed_function(used).name


CELL = "import math\n\ndef fail(x):\n    return 1 / x  # look here\n"


def notebook(name: str, text: str = CELL) -> Any:
    """Return a function as the cell of a notebook defines it."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, name, "exec", dont_inherit=True), space)
    return space["fail"]


def test_lines_of_a_notebook() -> None:
    one, two = (notebook(f"/tmp/ipykernel_{n}/{n}.py") for n in (111, 222))
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        cause = str(executor.submit(one, 0).exception().__cause__)
    assert '  File "/tmp/ipykernel_111/111.py", line 4, in fail\n    return 1 / x  # look here\n' in cause
    packed = [packed_function(each) for each in (one, two, notebook("<ipython-input-1-ab>", CELL + "\n#"))]
    assert len({each.name for each in packed}) == 1, "the same lines, whatever the cell is called"
    other = notebook("/tmp/ipykernel_111/112.py", CELL.replace("1 / x", "2 / x"))
    assert packed_function(other).name != packed[0].name
    for name in [name for name in linecache.cache if "ipy" in name]:
        del linecache.cache[name]
    sources, pickled = split_function(packed[1].blob)
    assert install_lines(sources) == []
    with pytest.raises(ZeroDivisionError) as caught:
        pickle.loads(pickled)(0)
    assert str(caught.traceback[-1].path) == "/tmp/ipykernel_222/222.py"
    assert linecache.getline("/tmp/ipykernel_222/222.py", 4) == "    return 1 / x  # look here\n"


LOCK = threading.Lock()


@dataclasses.dataclass
class Holder:
    inside: Any


def locked(x: int) -> Any:
    return LOCK, x


@pytest.fixture
def text_file(tmp_path: Any) -> Iterator[Any]:
    (tmp_path / "text").write_text("text")
    with open(tmp_path / "text") as file:
        yield file


def test_unpicklable_definition_is_named(text_file: Any) -> None:
    weak = weakref.ref(Slots)
    rows: list[tuple[Any, tuple[Any, ...], str]] = [
        (locked, (1,), "the global name 'LOCK' of the function locked, <unlocked _thread.lock"),
        (lambda: weak, (), "the variable 'weak' of the function "),
        (lambda x, y=LOCK: y, (1,), "a default value of the function "),
        (functools.partial(abs, LOCK), (), "argument 1 of the partial of the function "),
        (abs, (Holder([1, LOCK]),), "item 1 of the attribute 'inside' of argument 1, <unlocked"),
        (abs, ({"k": LOCK},), "item 'k' of argument 1, <unlocked"),
        (abs, (text_file,), "argument 1, <_io.TextIOWrapper"),
        (lambda: text_file, (), "the variable 'text_file' of the function "),
        (abs, ((n for n in "ab"),), "argument 1, <generator"),
        (np.frompyfunc(abs, 1, 1), (1,), "the function abs (vectorized), <ufunc"),
    ]
    wrong = []
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        for call, arguments, said in rows:
            with pytest.raises(Exception, match="cannot pickle") as caught:
                executor.submit(call, *arguments)
            note = caught.value.__notes__[-1]
            if not (note.startswith(f"it is {said}") and ", that cannot travel to another process: " in note):
                wrong.append((said, note))
    assert not wrong
