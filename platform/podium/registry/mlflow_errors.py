"""What MLflow raises, told as Podium's errors."""

import errno
import re

from podium.errors import ConfigurationError, PodiumError, ServiceUnavailable, StorageFull

_NO_ANSWER = re.compile(r".*Max retries exceeded.*?(\[Errno -?\d+\] [\w ]+|\w+ timed out).*")  # and why, in group 1
_NO_RIGHT = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")


def explained(error: Exception, act: str, shown: str) -> PodiumError:
    """Return the error for `act`, which MLflow at `shown` did not do: of the settings, the disk or the service."""
    line = (str(error).strip() or "no reason given").splitlines()[0]
    text = _NO_ANSWER.sub(r"\1", without_password(line)).rstrip(".")
    if getattr(error, "error_code", None) in _NO_RIGHT:
        return ConfigurationError(
            f"MLflow at {shown} lets nobody with these credentials {act}: {text}. "
            "Check MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN."
        )
    # MLflow has a class of its own for every kind of store whose URI it does not understand.
    if "URI" in type(error).__name__ or isinstance(error.__cause__, ImportError):
        return ConfigurationError(
            f"The MLflow tracking URI {shown} is not usable: {text}. Use http(s)://HOST or sqlite:///FILE."
        )
    if getattr(error, "errno", None) == errno.ENOSPC:
        return StorageFull(f"No space is left to {act}: {text}. Free some and try again.")
    return ServiceUnavailable(f"MLflow at {shown} did not {act}: {text}. Check that it runs and try again.")


def without_password(text: str) -> str:
    """Return `text` with the credentials of its URLs hidden.

    >>> without_password("http://ada:secret@mlflow:5000")
    'http://***@mlflow:5000'
    """
    return re.sub(r"//[^/@\s]*@", "//***@", text)
