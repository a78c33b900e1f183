defmodule Palladion.Config.Credentials do
  @moduledoc false
  # Internal: credentials from where the user has them, at each login. It runs where no secret
  # stays: in a short-lived process that is sensitive. Every error is a text without values.

  alias Palladion.Authenticator.Endpoint
  alias Palladion.Config.Auth.{Callback, Text}
  alias Palladion.Config.{CredentialsFile, Options}
  alias Palladion.{Printable, Secret}

  @typedoc "`authorization_id` is for those that name none themselves"
  @type source :: %{
          from: Callback.t() | {:file, Path.t()} | {:login, part(), part()},
          authorization_id: String.t() | nil
        }
  @type part :: String.t() | {:file, Path.t()}

  @type login :: %{
          username: String.t(),
          password: String.t(),
          authorization_id: String.t() | nil
        }
  @type aws :: %{
          access_key_id: String.t(),
          secret_access_key: String.t(),
          session_token: String.t() | nil,
          expires_at: unix_ms :: integer() | nil
        }

  @latest_unix 253_402_300_799

  @doc false
  @spec fetch(source(), Endpoint.t()) :: {:ok, login()} | {:error, String.t()}
  def fetch(%{from: from, authorization_id: authorization_id}, endpoint) do
    with {:ok, login} <- login(from, endpoint),
         do: {:ok, %{login | authorization_id: login.authorization_id || authorization_id}}
  end

  defp login({:login, username, password}, _endpoint) do
    with {:ok, username} <- part(username),
         {:ok, password} <- part(password),
         do: {:ok, %{username: username, password: password, authorization_id: nil}}
  end

  defp login({:file, path}, _endpoint) do
    with {:ok, found} <- told(CredentialsFile.login(path)), do: to_login(found)
  end

  defp login(callback, endpoint) do
    with {:ok, answer} <- Callback.run(callback, [endpoint]),
         {:ok, found} <- found(answer),
         do: to_login(found)
  end

  defp part({:file, path}), do: told(CredentialsFile.text(path))
  defp part(text), do: {:ok, text}

  defp told({:error, _reason, message}), do: {:error, message}
  defp told(ok), do: ok

  defp to_login(found) do
    with {:ok, texts} <- texts(found, [:username, :password], [:authorization_id], &Text.login/1),
         do: {:ok, texts}
  end

  @doc false
  @spec fetch_aws(Callback.t()) :: {:ok, aws()} | {:error, String.t()}
  def fetch_aws(callback) do
    with {:ok, answer} <- Callback.run(callback, []),
         {:ok, found} <- found(answer),
         {:ok, texts} <-
           texts(found, [:access_key_id, :secret_access_key], [:session_token], &Text.aws/1),
         {:ok, expires_at} <- found |> value(:expires_at) |> unix_ms() do
      {:ok, Map.put(texts, :expires_at, expires_at)}
    end
  end

  # Answers of functions

  defp found({:ok, answer}), do: pairs(answer)
  defp found({:error, reason}), do: {:error, "the function returned an error#{reason(reason)}"}
  defp found(:error), do: {:error, "the function returned :error"}
  defp found(answer), do: pairs(answer)

  defp pairs(answer) when is_struct(answer), do: {:ok, Map.from_struct(answer)}
  defp pairs(answer) when is_map(answer), do: {:ok, answer}

  defp pairs([_ | _] = answer) do
    if not List.improper?(answer) and Enum.all?(answer, &match?({_name, _value}, &1)),
      do: {:ok, Map.new(answer)},
      else: no_pairs()
  end

  defp pairs(nil), do: {:error, "the function returned nil"}
  defp pairs(_other), do: no_pairs()

  defp no_pairs, do: {:error, "the function returned neither a keyword list nor a map"}

  # What it says is meant to be read; of anything else nobody knows what is in it.
  defp reason(text) when is_binary(text),
    do: ": " <> (text |> Printable.cut() |> Printable.escape())

  defp reason(atom) when is_atom(atom), do: ": #{inspect(atom)}"
  defp reason(%name{}), do: ": #{inspect(name)}"
  defp reason(_other), do: ""

  # Their parts

  defp texts(found, required, optional, check) do
    with :ok <- complete(found, required) do
      Enum.reduce_while(required ++ optional, {:ok, %{}}, fn name, {:ok, texts} ->
        case text(value(found, name), check) do
          {:ok, text} -> {:cont, {:ok, Map.put(texts, name, text)}}
          {:error, what} -> {:halt, {:error, "the #{name} #{what}"}}
        end
      end)
    end
  end

  defp complete(found, required) do
    case Enum.filter(required, &(value(found, &1) in [nil, "", []])) do
      [] -> :ok
      missing -> {:error, "the #{Enum.join(missing, " and the ")} is missing, or empty"}
    end
  end

  defp value(found, name) do
    case found do
      %{^name => value} -> value
      %{} -> found[Atom.to_string(name)]
    end
  end

  defp text(empty, _check) when empty in [nil, "", []], do: {:ok, nil}

  defp text(%Secret{}, _check),
    do: {:error, "is a Palladion.Secret, which can't be read: return the text"}

  defp text(value, check) do
    case if(is_binary(value), do: {:ok, value}, else: Options.charlist(value)) do
      {:ok, text} -> with :ok <- check.(text), do: {:ok, text}
      :error -> {:error, "is no string"}
    end
  end

  defp unix_ms(nil), do: {:ok, nil}
  defp unix_ms(%DateTime{} = time), do: {:ok, DateTime.to_unix(time, :millisecond)}

  defp unix_ms(seconds) when is_integer(seconds) and seconds in 0..@latest_unix,
    do: {:ok, seconds * 1_000}

  defp unix_ms(text) when is_binary(text) do
    case DateTime.from_iso8601(text) do
      {:ok, time, _offset} -> unix_ms(time)
      {:error, _reason} -> no_time()
    end
  end

  defp unix_ms(_other), do: no_time()

  defp no_time do
    {:error,
     "the expires_at is no time: it must be a DateTime, Unix seconds, or ISO 8601 with its " <>
       "offset, such as Z"}
  end
end
