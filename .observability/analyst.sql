-- Run by the service `analyst` of compose.yaml each time the profile starts.
\getenv password ANALYST_PASSWORD
ALTER ROLE analyst PASSWORD :'password';
