"""Python client of the ovseg segmentation service, over REST or gRPC.

from ovseg_client import Client

with Client("http://localhost:8080") as client:
    found = client.predict("photo.jpg", boxes=[[100, 100, 300, 300]])
found.masks  # bool [1, height, width]
"""

from ovseg_client.client import Client
from ovseg_client.errors import (
    ApiError,
    ConnectionFailedError,
    InvalidRequestError,
    OvsegError,
    Problem,
    RequestTimeoutError,
    ServerError,
    UnavailableError,
)
from ovseg_client.pipeline import create_pipeline
from ovseg_client.prediction import Prediction, Rle

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "Client",
    "ConnectionFailedError",
    "InvalidRequestError",
    "OvsegError",
    "Prediction",
    "Problem",
    "RequestTimeoutError",
    "Rle",
    "ServerError",
    "UnavailableError",
    "create_pipeline",
]
