"""`oarlock doctor`: what is wrong between here and a model, step by step, and what to do."""
