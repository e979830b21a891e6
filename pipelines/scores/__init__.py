"""From outcomes to the score snapshot that the router reads.

changes           where a model's quality moved: the detector over every series, and its memory
change_detection  the detector of one series, pure arithmetic
outcomes          how many outcomes count: those that chance decided in full, the others as a weak prior
quality_model     a hierarchical estimate of each model's quality on each task, pure arithmetic
versions          which version of each model serves: outcomes of earlier ones count for little
scoring           the five together: `task_model_scores` and `score_changes`
"""
