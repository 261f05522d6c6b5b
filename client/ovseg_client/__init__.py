"""Python client of the ovseg segmentation service, over REST or gRPC.

from ovseg_client import Client

with Client("http://localhost:8080") as client:
    found = client.predict("photo.jpg", boxes=[[100, 100, 300, 300]])
found.masks  # bool [1, height, width]
"""

from ovseg_client import formats
from ovseg_client.async_client import AsyncClient, AsyncImageSession
from ovseg_client.batch import BatchResult
from ovseg_client.client import Client, ImageSession
from ovseg_client.errors import (
    ApiError,
    AuthenticationError,
    ConnectionFailedError,
    InvalidRequestError,
    NotFoundError,
    OvsegError,
    Problem,
    RateLimitedError,
    RequestTimeoutError,
    ServerError,
    UnavailableError,
)
from ovseg_client.everything import Everything, EverythingOptions
from ovseg_client.pipeline import create_pipeline
from ovseg_client.prediction import Prediction, Rle
from ovseg_client.request import PredictArguments, PredictOptions

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncImageSession",
    "AuthenticationError",
    "BatchResult",
    "Client",
    "ConnectionFailedError",
    "Everything",
    "EverythingOptions",
    "ImageSession",
    "InvalidRequestError",
    "NotFoundError",
    "OvsegError",
    "PredictArguments",
    "PredictOptions",
    "Prediction",
    "Problem",
    "RateLimitedError",
    "RequestTimeoutError",
    "Rle",
    "ServerError",
    "UnavailableError",
    "create_pipeline",
    "formats",
]
