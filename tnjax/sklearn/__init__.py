"""Estimators of scikit-learn: tables in, predictions out. The extra `sklearn` installs it."""

from .._install import install_hint

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(f"tnjax.sklearn needs scikit-learn: {install_hint('sklearn')}.") from error

from ._classifier import TNClassifier as TNClassifier
from ._density import TNDensity as TNDensity
from ._imputer import TNImputer as TNImputer
from ._regressor import TNRegressor as TNRegressor
