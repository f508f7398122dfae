"""The Streamlit dashboard; it talks to the services over HTTP only."""
