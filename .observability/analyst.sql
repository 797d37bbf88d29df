-- Run by the service `analyst` of compose.yaml whenever the profile is started.
\getenv password ANALYST_PASSWORD
ALTER ROLE analyst PASSWORD :'password';
