"""Writing and verifying the transparency log; its formats are in `market_data.proof`."""
