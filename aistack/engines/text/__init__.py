"""Words and times to text: joining windows, cutting segments, SenseVoice's tags."""
