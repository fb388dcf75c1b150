"""Estimators of scikit-learn: tables in, predictions out. The extra `sklearn` installs it."""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError("tnjax.sklearn needs scikit-learn: pip install tnjax[sklearn].") from error

from ._classifier import TNClassifier as TNClassifier
from ._imputer import TNImputer as TNImputer
from ._regressor import TNRegressor as TNRegressor
