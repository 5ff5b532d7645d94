from django.urls import path
from users.views import UserAPI

urlpatterns = [
    path("api/users", UserAPI.as_view()),
    path("api/users/<int:user_id>", UserAPI.as_view()),
]
