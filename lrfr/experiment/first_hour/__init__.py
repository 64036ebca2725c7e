"""From a folder of photographs to a report: what ``lrfr quickstart`` looks at, plans and runs."""
