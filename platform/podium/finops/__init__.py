"""Money: prices, the ledger of what every attempt cost, its rollups, reports and reconciliation."""
