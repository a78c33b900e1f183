defmodule Palladion.Config.Auth.Login do
  @moduledoc false
  # Internal: a username and a password, wherever the two come from. What is known at the start
  # becomes the native library's; what is read or asked for at each login stays here, sealed.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.Auth.{Callback, Text}
  alias Palladion.Config.{CredentialsFile, Options, Seal}
  alias Palladion.{ConfigError, Secret}

  @typedoc "What `Palladion.Native` takes, and what Elixir is asked for; `nil` where it is wrong"
  @type t :: {{:static, map()} | {:ask, nil} | nil, {:credentials, Seal.sealed()} | nil}

  @nothing {nil, nil}

  @doc false
  # By `username:` and `password:`. Reads their files, and calls the password's function.
  @spec by_name(map()) :: {t(), [ConfigError.problem()]}
  def by_name(values) do
    {username, username_problems} = username(values.username)
    {password, password_problems} = password(values.password)

    problems =
      username_problems ++
        password_problems ++
        pair(values.username != nil, password != nil or password_problems != []) ++
        readable(username, password)

    if problems == [],
      do: {build(username, password, values.authorization_id), []},
      else: {@nothing, problems}
  end

  defp username(nil), do: {nil, []}
  defp username({:file, path}), do: file(path, :username)

  defp username(text) do
    case Options.cast(:string, text) do
      {:ok, text} ->
        {text, []}

      :error ->
        message = "must be a non-empty string or {:file, path}#{Options.got(text)}"
        {nil, [problem([:auth, :username], :invalid_value, message)]}
    end
  end

  defp password(value) do
    case Seal.reveal(value) do
      {:file, path} -> file(path, :password)
      _ -> password_text(value)
    end
  end

  defp password_text(value) do
    with {:ok, text} when is_binary(text) <- Seal.open(value),
         :ok <- Text.login(text) do
      {text, []}
    else
      {:ok, secret_or_nil} -> {secret_or_nil, []}
      {:error, what} -> {nil, [problem([:auth, :password], :invalid_value, what)]}
      {:error, reason, message} -> {nil, [problem([:auth, :password], reason, message)]}
    end
  end

  # It is read at each login; that it can be is better known now.
  defp file(path, option) do
    case CredentialsFile.text(path) do
      {:ok, _text} -> {{:file, path}, []}
      {:error, reason, message} -> {nil, [problem([:auth, option], reason, message)]}
    end
  end

  defp pair(true, true), do: []
  defp pair(true, false), do: [missing(:password, "username")]
  defp pair(false, true), do: [missing(:username, "password")]

  defp missing(name, other) do
    message = "is missing, though #{other}: is given; is an environment variable unset?"
    problem([:auth, name], :required, message)
  end

  defp readable({:file, _path}, %Secret{}) do
    message =
      "is a Palladion.Secret, and Elixir must read it beside username: {:file, path}; give the " <>
        "password again together with username: {:file, ...}, as a text, a function or a file"

    [problem([:auth, :password], :conflict, message)]
  end

  defp readable(_username, _password), do: []

  defp build(username, password, authorization_id) do
    if is_binary(username) and not match?({:file, _path}, password) do
      password = Secret.wrap(password).ref

      {{:static, %{username: username, password: password, authorization_id: authorization_id}},
       nil}
    else
      ask({:login, username, password}, authorization_id)
    end
  end

  @doc false
  # By `credentials:`. Reads the file; a function is asked at each login only.
  @spec by_credentials(map()) :: {t(), [ConfigError.problem()]}
  def by_credentials(values) do
    from = Seal.reveal(values.credentials)

    case check(from) do
      :ok ->
        {ask(from, values.authorization_id), []}

      {:error, reason, message} ->
        {@nothing, [problem([:auth, :credentials], reason, message)]}
    end
  end

  defp check({:file, path}), do: with({:ok, _found} <- CredentialsFile.login(path), do: :ok)

  defp check(callback) do
    case Callback.check(callback, 1) do
      :ok -> :ok
      {:error, message} -> {:error, :invalid_value, message}
      :other -> {:error, :invalid_value, forms()}
    end
  end

  defp forms do
    "must be a function that takes a Palladion.Authenticator.Endpoint, {module, function, " <>
      "arguments} or {:file, path}"
  end

  defp ask(from, authorization_id) do
    source = %{from: from, authorization_id: authorization_id}
    {{:ask, nil}, {:credentials, Seal.mask(source)}}
  end
end
