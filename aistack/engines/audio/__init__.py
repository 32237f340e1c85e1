"""Audio in and out: files to samples, samples to files, long audio in windows."""
