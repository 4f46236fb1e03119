#!/usr/bin/env bash
# scikit-learn: the same perfect answers have a macro F1 of 1.0 as class numbers, but of 2/3 as columns of a multi-label task or with labels=,
# where one of three labels neither occurs nor is predicted: that label counts as 0.
# One would have guessed: the two forms of the same answers give the same figure, and perfect answers 1.0.
# Source: the documentation of sklearn.metrics.f1_score: labels= "not present in the data will result in 0 components in a macro average", and
# all columns of a multi-label task are labels; zero_division has another value take that place. Seen with scikit-learn 1.7.2.
bash "$(dirname "$0")/with_packages" scikit-learn==1.7.2 scipy==1.15.3 numpy==1.26.4 <<'PYTHON'
import numpy as np
import sklearn
from sklearn.metrics import f1_score

print("scikit-learn", sklearn.__version__)
numbers = np.array([0, 0, 1])
columns = np.eye(3, dtype=int)[numbers]
found = {
    "class numbers": f1_score(numbers, numbers, average="macro"),
    "class numbers, labels=[0, 1, 2]": f1_score(numbers, numbers, labels=[0, 1, 2], average="macro", zero_division=0),
    "columns": f1_score(columns, columns, average="macro", zero_division=0),
    "columns, zero_division=1": f1_score(columns, columns, average="macro", zero_division=1),
    "columns, zero_division=nan": f1_score(columns, columns, average="macro", zero_division=np.nan),
}
for name, score in found.items():
    print(f"macro F1 of perfect answers, {name}: {score:.4f}")
raise SystemExit(0 if np.allclose(list(found.values()), [1, 2 / 3, 2 / 3, 1, 1]) else 1)
PYTHON
