"""The settings of a shop made of django-oscar's applications, as its documentation lists them: 94 tables."""

import os

from oscar.defaults import *  # noqa: F403 (oscar asks for it)

SECRET_KEY = "of a test"
USE_TZ = True
SITE_ID = 1
ROOT_URLCONF = "oscar_urls"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SHOP_DATABASE"]}}
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
AUTHENTICATION_BACKENDS = ["oscar.apps.customer.auth_backends.EmailBackend", "django.contrib.auth.backends.ModelBackend"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]


def _oscar(name, config):
    return f"oscar.apps.{name}.apps.{config}Config"


INSTALLED_APPS = [
    *(f"django.contrib.{name}" for name in
      ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles", "sites", "flatpages")),
    "oscar.config.Shop",
    _oscar("catalogue.reviews", "CatalogueReviews"),
    *(_oscar(name, name.capitalize()) for name in
      ("analytics", "checkout", "address", "shipping", "catalogue", "communication", "partner", "basket", "payment", "offer",
       "order", "customer", "search", "voucher", "wishlists", "dashboard")),
    *(_oscar(f"dashboard.{name}", f"{name.capitalize()}Dashboard") for name in
      ("reports", "users", "orders", "catalogue", "offers", "partners", "pages", "ranges", "reviews", "vouchers",
       "communications", "shipping")),
    "widget_tweaks", "haystack", "treebeard", "sorl.thumbnail", "django_tables2",
]
