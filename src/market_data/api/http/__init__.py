"""HTTP parts that the resources share."""
