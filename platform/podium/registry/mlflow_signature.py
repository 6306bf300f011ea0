"""The signature that MLflow keeps of a model. Like the registry's adapter, this imports mlflow when it is called."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # heavy, and not needed to import this module
    import pandas as pd


def signature_of(estimator: Any, sample: "pd.DataFrame") -> Any:
    """Return MLflow's signature: every column required, none of an integer type.

    MLflow refuses a column declared `long` once a missing value has made it float, and refuses integers where
    `double` is declared; so integers are declared `any`, and a float column takes every float.
    """
    import pandas as pd
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    def declared(column: "pd.Series[Any]") -> Any:
        if pd.api.types.is_bool_dtype(column.dtype):
            return DataType.boolean
        if pd.api.types.is_float_dtype(column.dtype):
            return DataType.double
        if pd.api.types.infer_dtype(column, skipna=True) == "string":
            return DataType.string
        return AnyType()

    columns = Schema([ColSpec(declared(sample[name]), str(name)) for name in sample.columns])
    # Inferred as if the predictions were an input: inferring from the sample itself warns about its integers.
    return ModelSignature(inputs=columns, outputs=infer_signature(estimator.predict(sample)).inputs)
