defmodule Palladion.Config.Seal do
  @moduledoc false
  # Internal: options whose secrets can't be printed.
  #
  # A supervisor prints its children's start arguments, and a crash dump holds them, so
  # `Palladion.child_spec/1` seals the options first. A password for the server becomes a
  # `Palladion.Secret`. What Elixir must read again (a private key, the password of its file, what
  # gives credentials at each login) becomes a closure, which prints as a function and isn't in a
  # crash dump. So does the value of every unknown option, for it may be a misspelt `password:`.

  alias Palladion.Config.Auth.Text
  alias Palladion.Config.{Options, Schema}
  alias Palladion.Secret

  @typedoc "A value that `reveal/1` gives back"
  @type sealed :: (() -> term())

  @doc false
  # Sealing sealed options changes nothing.
  @spec seal(term()) :: term()
  def seal(options) do
    seal_section(options, Schema.general(), fn
      :auth, value -> seal_auth(value)
      :tls, value -> seal_tls(value)
      _name, value -> value
    end)
  end

  @doc false
  # The section `tls:`, or what is to change of it.
  @spec seal_tls(term()) :: term()
  def seal_tls(options), do: seal_section(options, Schema.TLS.options(), fn _, other -> other end)

  @doc false
  # The section `auth:`, or what is to change of it.
  @spec seal_auth(term()) :: term()
  def seal_auth(options) do
    # Beside a username from a file, Elixir must read the password once more; and where there is
    # none here, it may be put over one.
    static? = Keyword.keyword?(options) and is_binary(options[:username])

    seal_section(options, Schema.Auth.options(), fn
      :password, value when static? -> wrap_again(value)
      :password, value -> value
      :sigv4, value -> seal_section(value, Schema.Auth.sigv4(), &seal_key/2)
      :credentials, value -> seal_source(value)
      _name, value -> value
    end)
  end

  defp seal_key(name, value) when name in [:secret_access_key, :session_token],
    do: wrap(value, &Text.aws/1)

  defp seal_key(:credentials, value), do: seal_source(value)
  defp seal_key(_name, value), do: value

  defp seal_section(options, schema, seal_known) do
    cond do
      is_atom(options) -> options
      Keyword.keyword?(options) -> Enum.map(options, &seal_option(&1, schema, seal_known))
      true -> close(options)
    end
  end

  defp seal_option({name, value}, schema, seal_known) do
    case Keyword.fetch(schema, name) do
      :error ->
        {name, close(value)}

      {:ok, spec} ->
        sealed = seal_known.(name, value)
        closed? = spec[:secret] || (spec[:private] && not plain?(name, spec[:type], value))
        {name, if(closed?, do: close(sealed), else: sealed)}
    end
  end

  # What it could be if it is right. Anything else may be a password in a wrong place.
  defp plain?(_name, _type, value) when is_atom(value) or is_number(value), do: true
  # Sealed as a section.
  defp plain?(:sigv4, _type, _value), do: true
  defp plain?(:username, _type, {:file, path}), do: cast?(:path, path)
  defp plain?(:username, _type, value), do: cast?(:string, value)
  defp plain?(:mechanism, _type, value), do: list?(value, &is_atom/1)
  defp plain?(:allowed_authenticators, _type, value), do: list?(value, &cast?(:string, &1))
  defp plain?(_name, type, value), do: cast?(type, value)

  defp cast?(type, value), do: match?({:ok, _value}, Options.cast(type, value))

  defp list?(value, fun),
    do: is_list(value) and not List.improper?(value) and Enum.all?(value, fun)

  # It may have been sealed before it was known what stands beside it.
  defp wrap_again(value) do
    with %Secret{} = secret <- value |> reveal() |> wrap(&Text.login/1),
         do: secret,
         else: (_ -> value)
  end

  # What is no password stays as it is, to be found wrong later.
  defp wrap(value, check) do
    with {:ok, text} when text != "" <- text(value),
         :ok <- check.(text) do
      Secret.wrap(text)
    else
      _ -> value
    end
  end

  # A function of the user's may have a secret in it, unlike one that is called for a password.
  defp seal_source(value), do: if(value == nil or ours?(value), do: value, else: mask(value))

  defp close(open) when is_function(open, 0) or open in [nil, "", []], do: open
  defp close(%Secret{} = secret), do: secret
  defp close(value), do: mask(value)

  @doc false
  # Such a closure is kept as long as the cluster runs, to load files again. It has the value in
  # two halves, of which each is random, so that a dump of the memory doesn't show it either. What
  # references stand for (`:counters`, `:atomics`, what is of the native library) is freed when
  # nobody has them, and halves have none: so they are kept beside.
  @spec mask(term()) :: sealed()
  def mask(value) do
    plain = :erlang.term_to_binary(value)
    pad = :crypto.strong_rand_bytes(byte_size(plain))
    masked = {:crypto.exor(plain, pad), pad, references(value, [])}
    fn -> unmask(masked) end
  end

  defp unmask({masked, pad, _references}),
    do: masked |> :crypto.exor(pad) |> :erlang.binary_to_term()

  defp references(value, found) do
    case value do
      [head | tail] -> references(tail, references(head, found))
      _ when is_reference(value) -> [value | found]
      _ when is_tuple(value) -> value |> Tuple.to_list() |> references(found)
      _ when is_map(value) -> value |> :maps.to_list() |> references(found)
      _ when is_function(value) -> value |> environment() |> references(found)
      _ -> found
    end
  end

  defp environment(fun) do
    {:env, environment} = :erlang.fun_info(fun, :env)
    environment
  end

  @doc false
  # What was sealed here, and any other value as it is: functions of users are not called.
  @spec reveal(sealed() | term()) :: term()
  def reveal(value), do: if(ours?(value), do: value.(), else: value)

  defp ours?(value),
    do: is_function(value, 0) and Function.info(value, :module) == {:module, __MODULE__}

  @doc false
  # The value of a secret option, sealed or not: a text, a `Palladion.Secret`, or `nil`
  # where there is none. Functions that a user gave run here.
  @spec open(term()) :: {:ok, String.t() | Secret.t() | nil} | {:error, atom(), String.t()}
  def open(nil), do: {:ok, nil}
  def open(%Secret{} = secret), do: {:ok, secret}

  def open(fun) when is_function(fun, 0) do
    case call(fun) do
      {:ok, again} when is_function(again) -> not_text()
      {:ok, value} -> open(value)
      {:error, _reason, _message} = error -> error
    end
  end

  def open(value) do
    case text(value) do
      {:ok, ""} -> {:error, :empty, "is empty; is an environment variable unset?"}
      {:ok, text} -> {:ok, text}
      :error -> not_text()
    end
  end

  defp not_text, do: {:error, :invalid_value, "must be a string or a function that returns one"}

  @doc false
  # The value of a secret option that is no text, sealed or not, or what a user's function returns.
  @spec call(term()) :: {:ok, term()} | {:error, atom(), String.t()}
  def call(fun) when is_function(fun, 0) do
    case fun.() do
      nil -> {:error, :invalid_value, "is a function that returned nil"}
      value -> {:ok, value}
    end
  rescue
    # What is raised may hold the secret: only its kind is told.
    error -> {:error, :function_failed, "is a function that raised #{inspect(error.__struct__)}"}
  catch
    kind, _value -> {:error, :function_failed, "is a function that ended with #{kind}"}
  end

  def call(value), do: {:ok, value}

  defp text(value) when is_binary(value), do: {:ok, value}
  defp text([]), do: {:ok, ""}
  defp text(value), do: Options.charlist(value)
end
