"""The admin of things."""

from django.contrib import admin

from .models import Thing


@admin.register(Thing)
class ThingAdmin(admin.ModelAdmin):
    list_display = ("name", "picture")
    search_fields = ("name",)
