"""Task types: labels, rules and the classifier.

Input: a request's label or text. Output: its task type, with the source and the confidence.
Read in this order:

    tasks       the label, else rules, else the classifier
    features    the prompt as numbers under a secret key
    classifier  the model that the pipelines train from labelled requests
"""
