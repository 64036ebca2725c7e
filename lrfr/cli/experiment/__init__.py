"""Commands that go a whole way: declared comparisons, the demo, the first hour."""
