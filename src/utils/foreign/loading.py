"""A model of others: its file imported, and its class made one that runs here as it does in MMRec.

Nothing here is reached unless `models_dir` is set. What the file imports from `models` comes from its own folder,
what it imports from `common` and `utils` from this project, and where that has no such module, from its folder too.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
import tempfile
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, wraps
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from common.abstract_recommender import RAW_FEATURES, AbstractRecommender
from utils.config.layers import file_in
from utils.errors import UserError, did_you_mean
from utils.foreign.compat import compat
from utils.foreign.interface import GuestConfig, GuestLoader
from utils.foreign.packages import stand_ins

if TYPE_CHECKING:
    from utils.config import Config
    from utils.data.batches import TrainDataLoader

SHARED = ("common", "utils")
"""Packages that MMRec and this project both have."""

HOOKS = (
    "pre_epoch_processing", "post_epoch_processing", "calculate_loss", "full_sort_predict", "forward",
    "modality_shares", "train", "__str__",
)  # fmt: skip
"""Methods of a model that are called from here."""

PIP_NAMES = {
    "sklearn": "scikit-learn",
    "torch_geometric": "torch-geometric",
    "cv2": "opencv-python",
    "PIL": "pillow",
}
"""Packages that are installed under another name than they are imported."""


@cache
def load(name: str, models_dir: Path) -> type[AbstractRecommender]:
    """The class `name` of `models_dir`/models/<name in lower case>.py, to be used like one of ours.

    Raises UserError for a file that cannot be imported, and says which name it misses.
    """
    file, host = file_in(models_dir, name), _host(models_dir)
    try:
        with host.inside(torch.device("cpu")):
            if "torch_geometric" in file.read_text(encoding="utf-8"):
                host.prefer("torch_geometric")
            module = importlib.import_module(f"models.{name.lower()}")
    except SyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}; correct the file") from error
    except ImportError as error:
        raise UserError(_missing_import(error, file, models_dir)) from error
    except Exception as error:
        raise UserError(
            f"{_where(error, models_dir) or file}: {type(error).__name__}: {_line(error)}"
        ) from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, AbstractRecommender)):
        classes = [
            n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__
        ]
        hint = did_you_mean(name, classes) or f"; it has {', '.join(classes) or 'none'}"
        raise UserError(f"{file} has no class {name} that derives from GeneralRecommender{hint}")
    return _adopt(found, module, host)


class Stay(NamedTuple):
    """What is known of a model of others while it is here."""

    device: torch.device
    reads_features: bool
    """Whether its settings say so."""
    workspace: Path
    models_dir: Path


class Host:
    """The surroundings that the code of one folder finds when it is imported and when it runs."""

    def __init__(self, models_dir: Path):
        self.models_dir = models_dir
        self._depth = 0
        package = ModuleType("models")
        package.__path__ = [str(models_dir / "models")]
        self._modules: dict[str, ModuleType] = {"models": package}
        for name, module in stand_ins().items():
            if importlib.util.find_spec(name.partition(".")[0]) is None:
                self._modules[name] = module
        # MMRec's LayerGCN writes models.common.loss for common.loss
        aliases = {"models.common": "common"} | {
            f"models.common.{part}": f"common.{part}" for part in ("abstract_recommender", "loss", "init")
        }
        for alias, name in aliases.items():
            if not (models_dir / "models" / "common").exists():
                self._modules[alias] = importlib.import_module(name)

    @contextmanager
    def inside(self, device: torch.device) -> Iterator[None]:
        """Inside, modules and names are found as that code expects them; afterwards all is as before."""
        if self._depth:
            yield
            return
        self._depth += 1
        finder = _Fallback(self.models_dir)
        with ExitStack() as stack:
            stack.callback(self._left)
            stack.enter_context(compat(device))
            stack.enter_context(self._own_modules())
            sys.meta_path.append(finder)
            stack.callback(sys.meta_path.remove, finder)
            yield

    def _left(self) -> None:
        self._depth -= 1

    def prefer(self, package: str) -> None:
        """Import an installed package before it can see the stand-ins; it would take them for the real ones."""
        if importlib.util.find_spec(package) is None:
            return  # the file says so itself, if it needs it
        hidden = {name: sys.modules.pop(name) for name in stand_ins() if name in sys.modules}
        try:
            importlib.import_module(package)
        finally:
            sys.modules.update(hidden)

    @contextmanager
    def _own_modules(self) -> Iterator[None]:
        ours = {name: sys.modules.pop(name) for name in list(sys.modules) if _in_models(name)}
        sys.modules.update(self._modules)
        before = set(sys.modules)
        try:
            yield
        finally:
            for name in sys.modules.keys() - before:
                if self._is_theirs(name):
                    self._modules[name] = sys.modules[name]
            for name in self._modules:
                sys.modules.pop(name, None)
                parent, _, child = name.rpartition(".")
                if parent in SHARED:  # a submodule is an attribute of its package too
                    vars(sys.modules[parent]).pop(child, None)
            sys.modules.update(ours)

    def _is_theirs(self, name: str) -> bool:
        file = getattr(sys.modules[name], "__file__", None)
        return _in_models(name) or (isinstance(file, str) and Path(file).is_relative_to(self.models_dir))


def _in_models(name: str) -> bool:
    return name == "models" or name.startswith("models.")


class _Fallback:
    """Finds in a folder the modules that are nowhere else: its own top level, and its parts of `common` and `utils`."""

    def __init__(self, models_dir: Path):
        self._root = models_dir

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        parent = name.rpartition(".")[0]
        if parent and parent not in SHARED:
            return None
        spec = PathFinder.find_spec(name, [str(self._root / parent)])
        return spec if spec is not None and spec.loader is not None else None


@cache
def _host(models_dir: Path) -> Host:
    return Host(models_dir)


def _adopt(theirs: type[AbstractRecommender], module: ModuleType, host: Host) -> type[AbstractRecommender]:
    """The class with its hooks run in their surroundings, and built from what MMRec would hand it."""

    def __init__(self, config: Config, batches: TrainDataLoader) -> None:
        # Beside the instance, whose attributes belong to the model; gone with it.
        workspace = Path(tempfile.mkdtemp(prefix=f"{theirs.__name__}-"))
        weakref.finalize(self, shutil.rmtree, workspace, ignore_errors=True)
        guest = GuestConfig(config, batches, workspace)
        vars(self)["_stay"] = stay = Stay(
            config["device"], bool(config["is_multimodal_model"]), workspace, host.models_dir
        )
        with host.inside(stay.device), _explained(self, stay):
            theirs.__init__(self, guest, GuestLoader(guest, batches))

    def hook(method: Callable) -> Callable:
        @wraps(method)
        def run(self, *args: Any, **kwargs: Any) -> Any:
            stay = vars(self)["_stay"]
            with host.inside(stay.device), _explained(self, stay):
                return method(self, *args, **kwargs)

        return run

    members = {name: hook(getattr(theirs, name)) for name in HOOKS if hasattr(theirs, name)}
    members |= {
        "__init__": __init__,
        "__doc__": module.__doc__ or theirs.__doc__,
        "__module__": f"{host.models_dir.name}.{module.__name__}",
        "cache_forward": False,
    }
    return type(theirs.__name__, (theirs,), members)


@contextmanager
def _explained(model: AbstractRecommender, stay: Stay) -> Iterator[None]:
    """What their code lacks, as a UserError that names it; everything else passes as it is."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        where = _where(error, stay.models_dir)
        reason = _reason(error, model, stay, where) if where else None
        if reason is None:
            raise
        raise UserError(reason) from error


def _reason(error: Exception, model: AbstractRecommender, stay: Stay, where: str) -> str | None:
    """What is missing, if that is why a statement of theirs failed."""
    name, message = type(model).__name__, f"{type(error).__name__}: {_line(error)}"
    if isinstance(error, ImportError):
        return _missing_import(error, where, stay.models_dir)
    if _of_module(error) or type(error) is NameError:
        return f"{where}: {message}; that name is missing here"
    lacking = [feature for feature in RAW_FEATURES if vars(model).get(feature, model) is None]
    if stay.reads_features and lacking and isinstance(error, AttributeError | TypeError | UnboundLocalError):
        return (
            f"{name} does not get by without {' and '.join(lacking)} ({where}: {message}); the data set has no raw "
            f"features of {' and '.join(RAW_FEATURES[feature] for feature in lacking)}"
        )
    if isinstance(error, FileNotFoundError) and str(error.filename).startswith(str(stay.workspace)):
        return (
            f"{name} reads {Path(error.filename).name} beside the data ({where}), which is not there: a model of "
            f"others is given features, interactions and the two neighbour files alone"
        )
    return None


def _of_module(error: Exception) -> bool:
    return isinstance(error, AttributeError) and isinstance(error.obj, ModuleType | type)


def _missing_import(error: ImportError, file: str | Path, models_dir: Path) -> str:
    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package in (*SHARED, "models"):
        return f"{file}: {_line(error)}; neither this project nor {models_dir} has that name"
    pip = PIP_NAMES.get(package, package)
    return f"{file} needs the package {package}, which is not installed; pip install {pip} (extra [foreign] has some)"


def _where(error: Exception, models_dir: Path) -> str | None:
    """File and line of the innermost statement of theirs that the error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    inner = [frame for frame in frames if Path(frame.filename).is_relative_to(models_dir)]
    return f"{inner[-1].filename}, line {inner[-1].lineno}" if inner else None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
