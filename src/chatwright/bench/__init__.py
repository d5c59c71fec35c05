"""Load: requests sent to any OpenAI-compatible server, and what came of them as percentiles.

arrivals.py    when requests are sent, and what they ask
driver.py      sends them and takes the times
timing.py      one request's times, and the statistics of many
report.py      a table, a plot and JSON
"""
