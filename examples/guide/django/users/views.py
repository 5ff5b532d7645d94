# What stands between the marks is the guide's, as printed; README.md says what was added around it.
from users.models import User
from users.serializers import UserSerializer

# fmt: off
# >>> the guide: Django (Full-Featured)
from django.http import JsonResponse
from django.views import View

class UserAPI(View):
    def get(self, request, user_id):
        try:
            user = User.objects.get(id=user_id)
            return JsonResponse(UserSerializer(user).data)
        except User.DoesNotExist:
            return JsonResponse({'error': 'Not found'}, status=404)

    def post(self, request):
        serializer = UserSerializer(data=request.POST)
        if serializer.is_valid():
            user = serializer.save()
            return JsonResponse(UserSerializer(user).data, status=201)
        return JsonResponse(serializer.errors, status=400)
# <<<
