"""The pipeline: the stages of the method, one file each, put together by run."""
