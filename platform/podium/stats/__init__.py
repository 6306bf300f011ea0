"""Numbers in, numbers out: the paired tests behind a verdict, multiplicity and power.

Three results answer the same questions (`podium.stats.paired.PairedTest`): `mcnemar` for accuracy, `delong`
for AUC, `bootstrap` for the mean of anything that every row contributes to. Nothing here knows a model, a
policy or a clock.
"""
