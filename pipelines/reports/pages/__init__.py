"""Draws reports: charts, and pages of HTML that load nothing from elsewhere.

In: a report's SQL and the YAML file next to it, with its question and charts (`questions`). Its answer
becomes few enough figures to draw (`figures`), SVG or PNG (`charts`), and sections of one page (`page`).
Out: one file of HTML (`building`), or the files of an organisation that the router serves (`publishing`).
"""
