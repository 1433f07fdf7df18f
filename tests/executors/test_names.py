"""A function has one name in all processes: no order of sets, no random number, no address is in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

SCRIPT = """
import abc, collections, contextlib, dataclasses, enum, functools, operator, re, types, typing, warnings
import numpy as np
from wrenla.executors.transport.dependencies import packed_function

T = typing.TypeVar("T")
P = typing.ParamSpec("P")

class Plain:
    names = {"x", "y", "zeta"}; frozen = frozenset({"p", "q", "r"}); table = {"k": {"a", "b", "c"}}
    class Inner:
        words = {"i", "j", "k"}
        class Deeper(enum.Flag): U = 1; V = 2
    def __init__(self, x=1): self.x = x
    @staticmethod
    def s(): return {"a","b"}
    @classmethod
    def c(cls): return cls.names
    @property
    def p(self): return self.names
    @functools.lru_cache
    def cached(self): return 1

class Color(enum.Enum): RED = 1; GREEN = "g"; ALIAS = 1
class IntColor(enum.IntEnum): A = 1; B = 2
class StrColor(enum.StrEnum): A = enum.auto(); B = enum.auto()
class Flags(enum.Flag): A = enum.auto(); B = enum.auto(); AB = A | B
class WithSets(enum.Enum):
    A = frozenset({"a","b","c"}); B = frozenset({"x","y"})
    def m(self): return self.value
Functional = enum.Enum("Functional", ["A", "B"])

@dataclasses.dataclass
class Data: x: int = 3; s: set = dataclasses.field(default_factory=lambda: {"a", "b", "c"})
@dataclasses.dataclass(frozen=True, slots=True)
class Frozen: x: int = 3; s: frozenset = frozenset({"a", "b", "c"})
@dataclasses.dataclass(order=True, kw_only=True)
class Ordered(Data): y: float = 1.0
MadeData = dataclasses.make_dataclass("MadeData", [("a", int), ("b", str, "x")])
class Named(typing.NamedTuple): a: int = 1; b: frozenset = frozenset({"u","v","w"})
OldNamed = collections.namedtuple("OldNamed", "a b c", defaults=[{"r","s"}])
class Typed(typing.TypedDict, total=False): a: int; b: set
class Abstract(abc.ABC):
    @abc.abstractmethod
    def m(self): ...
    @property
    @abc.abstractmethod
    def q(self): ...
class Concrete(Abstract):
    def m(self): return 1
    q = 2
for each in (list, dict, Plain, Color, str, bytes, int, float): Abstract.register(each)
@dataclasses.dataclass
class WithObject: o: object = Plain(); f: typing.Callable = len; g: typing.Callable = lambda: 1
@typing.runtime_checkable
class Proto(typing.Protocol):
    def m(self) -> int: ...
    attr: set
class Generic(typing.Generic[T]):
    items: list[T]
class Sub(Generic[int]): pass
class Slots: __slots__ = ("a", "b", "c")
class SlotSub(Slots): __slots__ = ("d",)
class Meta(type):
    def __new__(m, n, b, d): d["added"] = {"m","n"}; return super().__new__(m, n, b, d)
class WithMeta(metaclass=Meta): pass
class Descr:
    def __set_name__(self, o, n): self.n = n
    def __get__(self, o, t): return self.n
class WithDescr: d = Descr(); e = Descr()
class InitSub:
    seen = set()
    def __init_subclass__(cls, **k): InitSub.seen.add(cls.__name__)
class I1(InitSub): pass
class I2(InitSub): pass
class MyError(Exception): codes = {"a","b"}
class Cyclic: pass
Cyclic.me = Cyclic
class A1: pass
class B1: other = A1
A1.other = B1
class Annot:
    a: "set[str]" = {"o","p","q"}
    b: typing.Annotated[int, frozenset({"m","n"})] = 1
    c: typing.Literal["x","y"] = "x"
words = {"one", "two", "three", ("a", 1), Color.RED, None}
nested = {"k": [{"p", "q", "r"}], "o": {"x": frozenset({frozenset({"a","b"}), "c"})}}
dd = collections.defaultdict(set,
    {"a": {"x","y","z"}}); cnt = collections.Counter({"a":1,"b":2})
od = collections.OrderedDict(a={"x","y"}); dq = collections.deque([{"a","b","c"}])
mp = types.MappingProxyType({"a": {"x","y"}}); ns = types.SimpleNamespace(s={"x","y","z"})
objarr = np.array([{"a","b","c"}, None, "x"], dtype=object)
class SetSub(set): pass
ss = SetSub({"a","b","c","d"})
class FSub(frozenset): pass
fs = FSub({"a","b","c","d"})
def deco(fn):
    @functools.wraps(fn)
    def inner(*a, **k): return fn(*a, **k)
    inner.tags = {"t","u","v"}
    return inner
class Deco:
    def __init__(self, f): self.f = f; functools.update_wrapper(self, f)
    def __call__(self, *a): return self.f(*a)
def closing(cls, s): return lambda i: (cls, s)
@deco
def decorated(i): return Color.RED
@Deco
def objdecorated(i): return Data
@contextlib.contextmanager
def ctx(): yield Plain
@functools.lru_cache
def lru(i): return Color
@functools.cache
def cached(i): return Plain
def gen(i):
    yield from {"a","b","c"}
async def co(i): return {"a","b","c"}
def annotated(i: Plain, j: "set[str]" = frozenset({"1","2","3"})) -> Color: return i
def kwdef(i, *, k={"a","b","c"}, l=lambda x={"d","e","f"}: x): return k
def recursive(i): return recursive(i-1) if i else words
def consts(i): return i in {"a","b","c","dd"} and i in ("a", "b") and (lambda: {"z","y"})
attr = lambda i: i
attr.s = {"a","b","c"}
def local_class(i):
    class L: s = {"a","b"}
    return L
class Call:
    s = {"a","b","c"}
    def __init__(self): self.t = {"x","y","z"}
    def __call__(self, i): return self.s | self.t
    def m(self, i): return i
def makes():
    class Inside:
        w = {"w","v"}
        def m(self): return __class__
    return Inside
Inside = makes(); Inside2 = makes()
def uses(*values): return lambda i: values
rows = dict(
 plain=lambda i: Plain, inner=lambda i: Plain.Inner, deeper=lambda i: Plain.Inner.Deeper,
    color=lambda i: Color, member=uses(Color.RED, Color.GREEN), intc=uses(IntColor.A),
    strc=uses(StrColor), flags=uses(Flags.AB, Flags), withsets=uses(WithSets, WithSets.A),
    functional=uses(Functional, Functional.A),
 data=uses(Data, Data()), frozen=uses(Frozen, Frozen()), ordered=uses(Ordered, Ordered()),
    madedata=uses(MadeData, MadeData(1)), named=uses(Named, Named()), oldnamed=uses(OldNamed,
    OldNamed(1,2)), typed=uses(Typed), abstract=uses(Abstract), concrete=uses(Concrete, Concrete()),
    proto=uses(Proto), generic=uses(Generic, Generic[int], Generic()), sub=uses(Sub, Sub()),
    slots=uses(Slots), slotsub=uses(SlotSub), meta=uses(WithMeta, WithMeta()), descr=uses(WithDescr),
    initsub=uses(InitSub, I1, I2), error=uses(MyError, MyError("x")), cyclic=uses(Cyclic),
    mutual=uses(A1, B1), annot=uses(Annot),
 words=lambda i: words, nested=uses(nested), dd=uses(dd), cnt=uses(cnt), od=uses(od), dq=uses(dq),
    ns=uses(ns), objarr=uses(objarr), setsub=uses(ss), fsub=uses(fs),
 decorated=decorated, objdecorated=objdecorated, ctx=lambda i: ctx, closing=closing(Color,
    {"a","b","c"}), partial=functools.partial(annotated, j={"x","y","z"}),
    partialmethod=functools.partial(Call().m), gen=gen, annotated=annotated, kwdef=kwdef,
    recursive=recursive, consts=consts, attr=attr, local_class=local_class, call=Call(),
    bound=Call().m, unbound=Call.m, classmethod=Plain.c, static=Plain.s, typevar=uses(T),
    paramspec=uses(P), inside=uses(Inside, Inside2), regex=uses(re.compile("a|b")),
    ufunc=lambda i: np.add, itemget=operator.itemgetter("a"), types=uses(list[int], dict[str, set],
    typing.Union[int, str], int | None, typing.Callable[[int], str], typing.Optional[Plain],
    typing.Literal["a","b"]), lru=lru, cached=cached, plaincached=uses(Plain(2)), coro=co,
    mp=uses(dict(mp)), withobject=uses(WithObject, WithObject()),
 module=lambda i: warnings.warn("a"),
)
for name, f in rows.items():
    print(name, packed_function(f).name)
"""


def names(commands: Sequence[list[str]], folder: Path) -> list[dict[str, str]]:
    """Run the script in processes with other hashes of strings; return the names that each has made."""
    scripts = [(folder / "named.py").open() for _ in commands]
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            stdin=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        )
        for seed, (command, script) in enumerate(zip(commands, scripts, strict=True))
    ]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    for script in scripts:
        script.close()
    assert not any(code for _, _, code in ended), ended
    return [dict(line.split() for line in out.splitlines()) for out, _, _ in ended]  # type: ignore[misc]


WAYS = {
    "again": ["named.py"],
    "flags": ["-W", "error::BytesWarning", "-X", "dev", "./named.py"],
    "module": ["-m", "named"],
    "runpy": ["-c", "import runpy; runpy.run_path('named.py', run_name='__main__')"],
    "linked": ["link/named.py"],
    "text": ["-c", SCRIPT],
    "input": [],
}
"""Other ways to start the same script."""


@pytest.mark.parametrize("how", ["flags", *(pytest.param(how, marks=pytest.mark.slow) for how in WAYS)])
def test_function_of_script_has_one_name_in_all_processes(how: str, tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text(SCRIPT)
    (tmp_path / "link").symlink_to(tmp_path)
    first, second = names((["named.py"], WAYS[how]), tmp_path)
    assert len(first) > 60
    assert len({*first.values()}) == len(first), "and each one another"
    assert {what: (name, second[what]) for what, name in first.items() if name != second[what]} == {}
