"""The canary: a challenger's trial on a share of the traffic, and what may be concluded from it at every look."""
