"""Numbers in, numbers out: the paired tests behind a verdict, multiplicity, power, and a canary's evidence.

Three results answer the same questions (`podium.stats.paired.PairedTest`): `mcnemar` for accuracy, `delong`
for AUC, `bootstrap` for the mean of anything that every row contributes to. `sequential` is the door to what
a canary asks of its counts at every look. Nothing here knows a model, a policy or a clock.
"""
