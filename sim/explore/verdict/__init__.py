"""What a sweep answers: today's machine beside a few designs that can be told apart, and what each change brings."""
