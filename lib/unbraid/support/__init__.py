"""What other modules need and no reader has to open: progress, schedules, files of tensors."""
