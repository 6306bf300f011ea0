"""Which imports of a pickle were reviewed, which bring code of the model's own, and which are dangerous.

What is reviewed is named one by one or is a class of a package of which every class may be made from a pickle: whole
packages are not, because one function of theirs that reads a file or evaluates a text is enough
(`numpy.f2py.crackfortran`, `pandas.eval`, the distributions of `scipy.stats`, which run a text when unpickled).
"""

import re
from collections.abc import Sequence
from typing import Literal

from podium.registry.pickle_scan import Import

Judgement = Literal["reviewed", "own_code", "unreviewed", "dangerous"]


def judge(found: Import, packages: Sequence[str] = ()) -> Judgement:
    """Say what an import is; `packages` are what the project reviewed beside what Podium did.

    >>> judge(Import("sklearn.linear_model._logistic", "LogisticRegression"))
    'reviewed'
    >>> judge(Import("acme.features", "Distance")), judge(Import("acme.features", "Distance"), ["acme"])
    ('unreviewed', 'reviewed')
    >>> judge(Import("cloudpickle.cloudpickle", "_make_function")), judge(Import("posix", "system"))
    ('own_code', 'dangerous')
    """
    if _is_dangerous(found):
        return "dangerous"
    if found.hint:  # bytes that look like a harmless import are bytes
        return "reviewed"
    module, name = found.module, found.name
    if name in _OWN_CODE.get(module, ()):
        return "own_code"
    if name in _NAMES.get(module, ()):
        return "reviewed"
    if any(place.fullmatch(module) and names.fullmatch(name) for place, names in _PLACES):
        return "reviewed"
    reviewed = any(module == package or module.startswith(f"{package}.") for package in packages)
    return "reviewed" if reviewed and ("." not in name or _CLASS.fullmatch(name)) else "unreviewed"


def _is_dangerous(found: Import) -> bool:
    module, name = found.module, found.name
    if module == "builtins":
        return name not in _NAMES["builtins"] and name not in _OWN_CODE["builtins"]
    parts = name.split(".")
    # A dotted name walks from object to object, into every module that a module imported.
    return (
        module.partition(".")[0] in _DANGEROUS_MODULES
        or any(part in _DANGEROUS_MODULES or part.startswith("__") for part in parts[:-1])
        or parts[-1] in _DANGEROUS_NAMES
        or any(place.fullmatch(f"{module}.{name}") for place in _DANGEROUS)
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DANGEROUS_MODULES = _words(
    """
    os posix nt posixpath ntpath sys subprocess _posixsubprocess shutil socket _socket socketserver ssl ctypes _ctypes
    cffi importlib imp _imp pkgutil runpy code codeop pty pdb bdb profile cProfile timeit trace tracemalloc gc inspect
    ast dis pip ensurepip venv zipimport marshal shelve dbm pickle _pickle cPickle dill joblib torch webbrowser
    asyncio multiprocessing threading _thread signal resource fcntl mmap tempfile pathlib glob fileinput io _io http
    urllib ftplib smtplib telnetlib xmlrpc requests httpx aiohttp fsspec mlflow podium setuptools distutils pydoc
    doctest unittest weakref atexit faulthandler logging platform commands popen2
    """
)
_DANGEROUS_NAMES = _words(
    "os posix sys subprocess shutil socket ctypes importlib builtins pickle system popen eval exec"
)
_DANGEROUS = tuple(
    re.compile(pattern)
    for pattern in (
        r"operator\.(attrgetter|methodcaller|call)",
        r"_operator\.(attrgetter|methodcaller|call)",
        r"functools\.(reduce|partialmethod)",
        r"types\.(FrameType|TracebackType|GeneratorType)",
        r"cloudpickle\.(cloudpickle\.|cloudpickle_fast\.)?(loads?|dumps?|Pickler|CloudPickler|subprocess|sys|os)",
        r"numpy\.(f2py|testing|distutils|ctypeslib)\..*",
        r"numpy\.(.*\.)?(load|loadtxt|genfromtxt|fromfile|save|savez|memmap|DataSource|NpzFile|runstring|fromregex)",
        r"pandas\.(.*\.)?(eval|read_\w+|to_\w+|ExcelWriter|ExcelFile|HDFStore)",
        r"scipy\.(stats|io|weave)\..*",
        r"sklearn\.(datasets|externals|utils\._testing|utils\._mocking)\..*",
        r"skops\.io\..*",
    )
)

_OWN_CODE: dict[str, frozenset[str]] = {
    "builtins": _words("type classmethod staticmethod property"),
    "types": _words("CodeType FunctionType LambdaType MethodType ModuleType CellType MappingProxyType GenericAlias"),
}
for _name in ("cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast", "cloudpickle"):
    _OWN_CODE[_name] = _words(
        """
        _make_function _make_skel_func _make_skeleton_class _make_skeleton_enum _make_typevar _make_empty_cell
        _make_cell _make_dict_keys _make_dict_values _make_dict_items _builtin_type _fill_function
        _rehydrate_skeleton_class _class_setstate _function_setstate _function_getnewargs _get_or_create_tracker_id
        _lookup_class_or_track subimport dynamic_subimport instance _empty_cell_value _gen_ellipsis
        _gen_not_implemented parametrized_type_hint_getinitargs _is_parametrized_type_hint _property_reduce
        _code_reduce _cell_set
        """
    )

_UFUNCS = """
    absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil clip conjugate copysign cos cosh
    deg2rad degrees divide equal exp exp2 expm1 fabs floor floor_divide fmax fmin greater greater_equal heaviside
    hypot isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp logical_and logical_not logical_or
    logical_xor maximum minimum mod multiply negative not_equal positive power rad2deg radians reciprocal remainder
    rint sign sin sinh sqrt square subtract tan tanh trunc
    """
_SCALARS = """
    bool bool_ int8 int16 int32 int64 intc intp uint8 uint16 uint32 uint64 uintp longlong ulonglong float16 float32
    float64 longdouble complex64 complex128 datetime64 timedelta64 str_ bytes_ object_ void
    """
_MATHEMATICS = """
    abs mean median std var sum min max prod cumsum cumprod diff round around nan_to_num clip ravel squeeze asarray
    array where column_stack hstack vstack concatenate sort argsort unique nanmean nanmedian nanstd nansum nanmin
    nanmax percentile quantile
    """
_NAMES: dict[str, frozenset[str]] = {
    "builtins": _words(
        """
        object dict list set frozenset tuple str bytes bytearray int float complex bool slice range Ellipsis
        NotImplemented NoneType abs len max min sum round sorted zip enumerate reversed ArithmeticError KeyError
        IndexError TypeError ValueError RuntimeError Exception NotImplementedError
        """
    ),
    "copyreg": _words("_reconstructor __newobj__ __newobj_ex__"),
    "_codecs": _words("encode"),
    "types": _words("NoneType EllipsisType NotImplementedType SimpleNamespace"),
    "collections": _words("OrderedDict defaultdict deque Counter"),
    "datetime": _words("datetime date time timedelta timezone"),
    "decimal": _words("Decimal"),
    "fractions": _words("Fraction"),
    "uuid": _words("UUID"),
    "functools": _words("partial"),
    "operator": _words("itemgetter add sub mul truediv neg eq ne lt le gt ge and_ or_ not_"),
    "_operator": _words("itemgetter add sub mul truediv neg eq ne lt le gt ge and_ or_ not_"),
    "math": _words(
        "sqrt log log1p log2 log10 exp expm1 sin cos tan atan atan2 floor ceil fabs hypot isnan isfinite pow pi"
    ),
    "numpy": _words(f"ndarray dtype {_UFUNCS} {_SCALARS} {_MATHEMATICS}"),
    "numpy._core._multiarray_umath": _words(_UFUNCS),
    "numpy.core._multiarray_umath": _words(_UFUNCS),
    "numpy._core": _words("_ufunc_reconstruct"),
    "numpy.core": _words("_ufunc_reconstruct"),
    "numpy._core.multiarray": _words("_reconstruct scalar"),
    "numpy.core.multiarray": _words("_reconstruct scalar"),
    "numpy._core.numeric": _words("_frombuffer"),
    "numpy.core.numeric": _words("_frombuffer"),
    "numpy.ma.core": _words("_mareconstruct MaskedArray"),
    "numpy.dtypes": _words("StringDType"),
    "numpy.random._pickle": _words("__bit_generator_ctor __generator_ctor __randomstate_ctor"),
    "numpy.random._mt19937": _words("MT19937"),
    "numpy.random._pcg64": _words("PCG64 PCG64DXSM"),
    "numpy.random._philox": _words("Philox"),
    "numpy.random._sfc64": _words("SFC64"),
    "numpy.random.bit_generator": _words("SeedSequence __pyx_unpickle_SeedSequence"),
    "scipy.interpolate._bsplines": _words("BSpline"),
    "scipy._lib.array_api_compat.numpy._aliases": _words("asarray"),
    "pandas._libs.arrays": _words("__pyx_unpickle_NDArrayBacked"),
    "pandas._libs.internals": _words("_unpickle_block BlockPlacement"),
    "pandas": _words("NA NaT"),
    "pandas._libs.missing": _words("NA NAType"),
    "pandas._libs.tslibs.nattype": _words("_nat_unpickle"),
    "pandas._libs.tslibs.timedeltas": _words("_timedelta_unpickle Timedelta"),
    "pandas._libs.tslibs.timestamps": _words("_unpickle_timestamp Timestamp"),
    "pandas.core.indexes.base": _words("_new_Index"),
    "pandas.core.indexes.datetimes": _words("_new_DatetimeIndex"),
    "pandas.core.indexes.interval": _words("_new_IntervalIndex"),
    "pyarrow.lib": _words("_restore_array py_buffer type_for_alias"),
    "lightgbm.basic": _words("Booster"),
    "xgboost.core": _words("Booster"),
}

# A class has a small letter in its name; what has none is a constant, as a table that others read, but for these.
_PART = r"(_{0,2}[A-Z](?=\w*[a-z])\w*|DBSCAN|HDBSCAN|MDS|NMF|OAS|OPTICS|PCA|RBF|SVC|SVR|TSNE)"
_CLASS = re.compile(rf"{_PART}(\.{_PART})*")
_ESTIMATORS = (
    "_loss|calibration|cluster|compose|covariance|cross_decomposition|decomposition|discriminant_analysis|dummy|ensemble|"
    "feature_extraction|feature_selection|gaussian_process|impute|isotonic|kernel_approximation|kernel_ridge|linear_model|"
    "manifold|metrics|mixture|model_selection|multiclass|multioutput|naive_bayes|neighbors|neural_network|pipeline|"
    "preprocessing|random_projection|semi_supervised|svm|tree|utils._bunch"
)
_PLACES = tuple(
    (re.compile(module), names if isinstance(names, re.Pattern) else re.compile(names))
    for module, names in (
        (rf"sklearn\.({_ESTIMATORS})(\.\w+)*", _CLASS),
        (
            r"sklearn\.(cluster|feature_selection|metrics|neighbors)(\.\w+)*",
            r"f_classif|f_regression|f_oneway|chi2|r_regression|mutual_info_\w+|_kmeans_single_\w+|newObj|\w+_(score|error|loss)",
        ),
        (r"sklearn\.(_loss|linear_model|utils|metrics|ensemble)(\.\w+)*", r"__pyx_unpickle_\w+"),
        (r"scipy\.sparse(\._\w+)?", r"[a-z]{3}_(matrix|array)"),
        (r"pandas(\.arrays|\.core\.(frame|series|arrays|indexes|internals|dtypes)(\.\w+)*)?", _CLASS),
        (r"pandas\._libs\.tslibs\.(offsets|period|dtypes)", _CLASS),
        (r"lightgbm\.sklearn", r"LGBM\w*"),
        (r"xgboost\.sklearn", r"XGB\w*"),
    )
)
