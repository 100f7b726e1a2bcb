"""What every stage does around its work: its run, its failures, reading ahead, the device, resident processes."""
