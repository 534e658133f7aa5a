"""The engine that copies every object out of a bucket, exactly and provably, and remembers where it was."""
