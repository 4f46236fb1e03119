"""Option search: the search space, and the study that selects trials."""
