"""PaddleX's way of calling the pipeline, answered by this project's server.

from ovseg_client import create_pipeline

pipeline = create_pipeline(pipeline="open_vocabulary_segmentation")
for result in pipeline.predict(
    input="photo.jpg", prompt_type="box", prompt=[[150, 12, 300, 150]]
):
    result.print()
    result.save_to_img("./output")
    result.save_to_json("./output")
"""

from ovseg_client.pipeline.pipeline import OpenVocabularySegmentationPipeline, create_pipeline
from ovseg_client.pipeline.result import SegmentationResult

__all__ = ["OpenVocabularySegmentationPipeline", "SegmentationResult", "create_pipeline"]
