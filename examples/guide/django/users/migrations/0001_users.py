from django.db import migrations, models


def first_user(apps, schema_editor):
    apps.get_model("users", "User").objects.create(name="Ada Lovelace", email="ada@example.org")


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                ("email", models.EmailField(max_length=254)),
            ],
        ),
        migrations.RunPython(first_user, migrations.RunPython.noop),
    ]
